"""Style of the final release: boxes in XML files, masks made of them, mAP over both subsets."""
from os import listdir
from xml.etree import ElementTree
from numpy import zeros, asarray, expand_dims, mean
from matplotlib import pyplot
from matplotlib.patches import Rectangle
from mrcnn.config import Config
from mrcnn.model import MaskRCNN, load_image_gt, mold_image
from mrcnn.utils import Dataset, compute_ap


class KangarooDataset(Dataset):
    def load_dataset(self, dataset_dir, is_train=True):
        self.add_class("dataset", 1, "kangaroo")
        for filename in sorted(listdir(dataset_dir + '/images/')):
            image_id = filename[:-4]
            if is_train and int(image_id) >= 3 or not is_train and int(image_id) < 3:
                continue
            self.add_image('dataset', image_id=image_id,
                           path=dataset_dir + '/images/' + filename,
                           annotation=dataset_dir + '/annots/' + image_id + '.xml')

    def extract_boxes(self, filename):
        root = ElementTree.parse(filename).getroot()
        boxes = list()
        for box in root.findall('.//bndbox'):
            boxes.append([int(box.find(name).text) for name in ('xmin', 'ymin', 'xmax', 'ymax')])
        width = int(root.find('.//size/width').text)
        height = int(root.find('.//size/height').text)
        return boxes, width, height

    def load_mask(self, image_id):
        boxes, w, h = self.extract_boxes(self.image_info[image_id]['annotation'])
        masks = zeros([h, w, len(boxes)], dtype='uint8')
        class_ids = list()
        for i in range(len(boxes)):
            box = boxes[i]
            masks[box[1]:box[3], box[0]:box[2], i] = 1
            class_ids.append(self.class_names.index('kangaroo'))
        return masks, asarray(class_ids, dtype='int32')

    def image_reference(self, image_id):
        return self.image_info[image_id]['path']


class PredictionConfig(Config):
    NAME = "kangaroo_cfg"
    NUM_CLASSES = 1 + 1
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1


def evaluate_model(dataset, model, cfg):
    APs = list()
    for image_id in dataset.image_ids:
        image, image_meta, gt_class_id, gt_bbox, gt_mask = load_image_gt(dataset, cfg, image_id, use_mini_mask=False)
        scaled_image = mold_image(image, cfg)
        sample = expand_dims(scaled_image, 0)
        yhat = model.detect(sample, verbose=0)
        r = yhat[0]
        AP, _, _, _ = compute_ap(gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r['masks'])
        APs.append(AP)
    return mean(APs)


def plot_actual_vs_predicted(dataset, model, cfg, n_images=1):
    for i in range(n_images):
        image = dataset.load_image(i)
        mask, _ = dataset.load_mask(i)
        scaled_image = mold_image(image, cfg)
        sample = expand_dims(scaled_image, 0)
        yhat = model.detect(sample, verbose=0)[0]
        pyplot.subplot(n_images, 2, i * 2 + 1)
        pyplot.imshow(image)
        for j in range(mask.shape[2]):
            pyplot.imshow(mask[:, :, j], cmap='gray', alpha=0.3)
        pyplot.subplot(n_images, 2, i * 2 + 2)
        pyplot.imshow(image)
        ax = pyplot.gca()
        for box in yhat['rois']:
            y1, x1, y2, x2 = box
            ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color='red'))
    pyplot.savefig('kangaroo.png')


train_set = KangarooDataset()
train_set.load_dataset('data', is_train=True)
train_set.prepare()
test_set = KangarooDataset()
test_set.load_dataset('data', is_train=False)
test_set.prepare()
cfg = PredictionConfig()
model = MaskRCNN(mode='inference', model_dir='./', config=cfg)
model.load_weights('mask_rcnn_two.h5', by_name=True)
print("Train mAP: %.3f" % evaluate_model(train_set, model, cfg))
print("Test mAP: %.3f" % evaluate_model(test_set, model, cfg))
plot_actual_vs_predicted(test_set, model, cfg)
